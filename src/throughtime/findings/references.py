"""Where the illnesses and their thresholds are described."""

DWARAMPUDI = "Dwarampudi, Subba Reddy 2019, Effects of padding on LSTMs and CNNs"
HOCHREITER = "Hochreiter, Bengio, Frasconi, Schmidhuber 2001, Gradient flow in recurrent nets"
LU = "Lu, Shin, Su, Karniadakis 2020, Dying ReLU and initialization: theory and numerical examples"
MICIKEVICIUS = "Micikevicius et al. 2018, Mixed precision training"
PASCANU = "Pascanu, Mikolov, Bengio 2013, On the difficulty of training recurrent neural networks"
TALLEC = "Tallec, Ollivier 2018, Can recurrent neural networks warp time?"
WILLIAMS = "Williams, Peng 1990, An efficient gradient-based algorithm for on-line training of recurrent networks"
