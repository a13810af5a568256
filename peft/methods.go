package peft

// Methods is the table of methods. A new method is one file and one row here.
var Methods = []Row{
	{Type: "LORA", New: newLora, Doc: "low-rank pairs beside linear layers and embeddings (Hu et al. 2021, arXiv:2106.09685)"},
	{Type: "LOHA", New: newLoha, Doc: "Hadamard product of two low-rank products (Hyeon-Woo et al. 2021, arXiv:2108.06098; Yeh et al. 2023, arXiv:2309.14859)"},
	{Type: "LOKR", New: newLokr, Doc: "Kronecker product of a small and a larger matrix (Yeh et al. 2023, arXiv:2309.14859)"},
	{Type: "HIRA", New: newHira, Doc: "the weight scaled element by element by a low-rank product (Huang et al. 2025, ICLR)"},
	{Type: "DELORA", New: newDelora, Doc: "normalised rank-one terms with a bounded, trained strength (Bini et al. 2025, arXiv:2503.18225)"},
	{Type: "MISS", New: newMiss, Doc: "one matrix shared by shards of the weight; also Bat (Kang and Yin 2024, arXiv:2409.15371)"},
	{Type: "IA3", New: newIA3, Doc: "learned factors of keys, values and the inner feed-forward (Liu et al. 2022, arXiv:2205.05638)"},
	{Type: "LN_TUNING", New: newLNTuning, Doc: "the norms themselves are trained (Zhao et al. 2023, arXiv:2312.11420)"},
	{Type: "BITFIT", New: newBitFit, Doc: "the biases of the base model are trained (Ben Zaken et al. 2021, arXiv:2106.10199)"},
	{Type: "BEFT", New: newBeft, Doc: "a bias is added to the value projections (arXiv:2509.15974)"},
	{Type: "SHIRA", New: newShira, Doc: "chosen values of the weights are trained (Bhardwaj et al. 2024, arXiv:2406.13175)"},
	{Type: "OFT", New: newOFT, Doc: "block-diagonal rotations of the input (Qiu et al. 2023, arXiv:2306.07280; OFTv2, arXiv:2506.19847)"},
	{Type: "BOFT", New: newBOFT, Doc: "butterfly factors of rotations (Liu et al. 2023, arXiv:2311.06243)"},
	{Type: "HRA", New: newHRA, Doc: "Householder reflections of the input (Yuan et al. 2024, arXiv:2405.17484)"},
	{Type: "PSOFT", New: newPsoft, Doc: "a rotation within the principal subspace of the weight (PSOFT, openreview FSHrinMArK)"},
	{Type: "ROAD", New: newRoad, Doc: "two-dimensional rotations of pairs of outputs (Liao and Monz 2024, arXiv:2409.00119)"},
	{Type: "C3A", New: newC3A, Doc: "block-circulant change of the weight (Chen et al. 2024, arXiv:2407.19342)"},
	{Type: "VERA", New: newVera, Doc: "shared frozen random matrices, two trained vectors a layer (Kopiczko et al. 2023, arXiv:2310.11454)"},
	{Type: "PVERA", New: newPvera, Doc: "VeRA with a normal latent, sampled in training (Fillioux et al. 2025)"},
	{Type: "RANDLORA", New: newRandLora, Doc: "full rank from weighted frozen random products (Albert et al. 2025, arXiv:2502.00987)"},
	{Type: "FOURIERFT", New: newFourierFT, Doc: "sparse coefficients of the weight's Fourier spectrum (Gao et al. 2024, arXiv:2405.03003)"},
	{Type: "WAVEFT", New: newWaveFT, Doc: "sparse coefficients of the weight's wavelet transform (Bilican et al. 2025, arXiv:2505.12532)"},
	{Type: "TRAINABLE_TOKENS", New: newTrainableTokens, Doc: "chosen rows of the embedding are trained, the others stay"},
	{Type: "FULL", New: newFull, Doc: "full fine-tuning: every weight of the base is trained"},
}
