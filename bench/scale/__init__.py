"""How many hosts the engines carry: simulated ones, beside what a model says.

python -m bench.scale --hosts 50,200,500 --runs 20 --seconds 20

Each simulated host does in the records, the broker and the outputs what a worker does
there, through the same stores; it runs no programs. See docs/scale.md.
"""
