# SPDX-License-Identifier: Apache-2.0
"""The rooms of ../compare.py: what to run, how, what the numbers say, how they are shown."""
