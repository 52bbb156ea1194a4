# SPDX-License-Identifier: Apache-2.0
"""The rooms of ../compare.py: what to run, how to run it, what the numbers say, and how they are shown."""
