"""The HTTP door: routes, resources, the one way in which errors leave."""
