"""The commands, a file each: their options and what they print; how things look is in the folders beside."""
