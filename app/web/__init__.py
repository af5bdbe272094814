"""The pages: what the services know, as HTML for people."""
