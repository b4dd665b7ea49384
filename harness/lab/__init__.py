"""A page with the residual block worked by hand, errors in common explanations, and questions answered by measurement.

The contents are computed once, as messages and numbers (`build.chapters`), and rendered in each language (`page`, `texts`).
"""
