"""How a campaign begins, goes on, changes machines and comes to its result; single trials are the nodes' business."""
