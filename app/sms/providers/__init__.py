"""The vendors, one in a file: build a request, read the answer, map the codes."""
