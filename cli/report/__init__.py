"""The morning report, one page that stands alone, drawn from the figures of `memory/figures`."""
