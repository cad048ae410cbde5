"""The morning report: one page that stands alone, made of the record."""
