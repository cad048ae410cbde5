"""Asking a proposer: requests put on record, outages borne, lessons written; no reply is judged here."""
