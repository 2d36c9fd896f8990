"""The thresholds that several verdicts share."""

import math

# In nats. A gradient that falls a hundredfold over the sequence leaves its far end less than the 1 % by which a window
# may miss the full gradient. One that grows a hundredfold turns a usual step of the optimiser into a jump, and clipping
# it takes from all shorter lags (Pascanu, Mikolov, Bengio 2013, section 3).
HUNDREDFOLD = math.log(100)
# In nats. What is smaller than float32's epsilon, 2^-23, against the gradient of the present step is lost when the two
# are added (IEEE 754).
ROUNDED_AWAY = -math.log(2.0**-23)
# In nats, of a norm: the half of that.
NEXT_TO_NOTHING = -ROUNDED_AWAY / 2
# A part of the units of a layer: what is said of a layer holds for most of it (Amazon SageMaker Debugger, the rules
# DeadRelu and SaturatedActivation, threshold_layer).
MOST_UNITS = 0.5
# A part of the gradient, the 1 % by which a window may miss it: what takes less than that is no finding.
LEFT_OUT = 0.01
