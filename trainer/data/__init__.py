"""Training and held-back text: downloaded, split, tokenised, packed and cached; nothing is trained here."""
