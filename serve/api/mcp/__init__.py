"""The door for agents: collections as tools and resources of the Model Context Protocol."""
