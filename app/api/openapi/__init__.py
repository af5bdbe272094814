"""The OpenAPI document, made of the very routes, policy and schemas that hold.

What a method takes and answers stands in its resource, who may in the policy, the
status of each error at the errors' door. Here they are put into OpenAPI's words.
"""
