"""What a new workspace starts from: the model, budget and menu that fit the machine."""
