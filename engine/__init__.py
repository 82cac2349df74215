"""The method itself: VL-Score (Gao & Wang 2022) as pure functions on numpy arrays.

This room knows no files, no inference runtime and no deep-learning library; it imports numpy and cv2 only.
The conventions every other room relies on are stated here once:

* Sizes are `(height, width)` and their names end in `_hw`. Boxes are `xyxy`, half-open, float32, in the
  pixels of the original picture. Pixel `x` covers `[x, x + 1)` and its centre lies at `x + 0.5`.
* A mask is a raw map upsampled to the model's side first and brought to [0, 1] second, over the upsampled
  plane, with 1e-7 in the denominator. The upsampling aligns corners. Doing it in the other order gives
  another mask, because an upsampled plane does not reach every source sample.
* Masks multiply the *normalised* pixels, so a mask of zero shows the model the mean colour. The base
  picture is that blank: zeros in normalised pixels. Black is an option, never the default.
* A map counts when the cosine of its masked picture beats the base strictly. A constant map shows exactly
  the base picture, so it is dropped before it is scored. No map left means the words name nothing here.
* The weights are a softmax of the kept scores over a temperature. The sum runs over the *raw* maps, not
  over their masks, and is cut at zero, shifted to start at zero and divided by its maximum plus 1e-7.
* The final resize is bilinear with half-pixel centres, clamped at the border (`clamp`); the published code
  mirrors there instead (`mirror`). A cropped picture is unknown, hence zero, outside its crop.
* Foreground is strictly above a fraction of the maximum of the resized saliency. Its connected components
  (4-connected) with strictly more than a thousandth of the picture's pixels become boxes. A spec may ask for
  other ways: morphology first, another cut, contours, or one rectangle.
"""
