"""The report: one self-contained HTML page, and the same content as JSON."""

from .content import OnTarget as OnTarget
from .write import write_report as write_report
