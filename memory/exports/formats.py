"""The names of the export formats, apart from what writes them: the command line shows them without loading it."""

from enum import StrEnum


class ExportFormat(StrEnum):
    """What a campaign can be written as."""

    JSONL = "jsonl"
    PARQUET = "parquet"
    RESULTS_TSV = "results-tsv"
    LINEAGE_TSV = "lineage-tsv"
