#!/usr/bin/env python3
"""All figures and an HTML report of results files: report.py --help."""
from filterscope_report import main

main()
