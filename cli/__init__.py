"""The `nightshift` command; what it shows is counted in the layers below."""
