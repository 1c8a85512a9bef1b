"""The report: one self-contained HTML page, and the same content as JSON."""

from .write import write_report as write_report
