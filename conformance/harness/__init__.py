"""The scripted parties that cases are written with, their expectations, and the verdicts that follow."""
