"""The report: one self-contained page of what a run says; ``bench.report.page`` writes it."""
