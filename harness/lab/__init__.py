"""The residual block worked by hand, errors in common explanations, and questions answered by measurement, as a page.

Contents are found once, as numbers and names of texts (`contents`); each language then says them (`texts`).
"""
