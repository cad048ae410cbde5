"""The five nodes of the graph, a file each; what several of them need is in the folders beside."""
