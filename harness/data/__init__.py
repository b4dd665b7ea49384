"""Data: where images come from (`datasets`), and the batches taken from them (`batches`)."""

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
