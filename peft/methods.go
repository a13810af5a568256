package peft

// Methods is the table of methods. A new method is one file and one row here.
var Methods = []Row{
	{Type: "LORA", New: newLora, Doc: "low-rank pairs beside linear layers and embeddings (Hu et al. 2021, arXiv:2106.09685)"},
	{Type: "LOHA", New: newLoha, Doc: "Hadamard product of two low-rank products (Hyeon-Woo et al. 2021, arXiv:2108.06098; Yeh et al. 2023, arXiv:2309.14859)"},
	{Type: "LOKR", New: newLokr, Doc: "Kronecker product of a small and a larger matrix (Yeh et al. 2023, arXiv:2309.14859)"},
	{Type: "HIRA", New: newHira, Doc: "the weight scaled element by element by a low-rank product (Huang et al. 2025, ICLR)"},
	{Type: "DELORA", New: newDelora, Doc: "normalised rank-one terms with a bounded, trained strength (Bini et al. 2025, arXiv:2503.18225)"},
	{Type: "MISS", New: newMiss, Doc: "one matrix shared by shards of the weight; also Bat (Kang and Yin 2024, arXiv:2409.15371)"},
	{Type: "TRAINABLE_TOKENS", New: newTrainableTokens, Doc: "chosen rows of the embedding are trained, the others stay"},
	{Type: "FULL", New: newFull, Doc: "full fine-tuning: every weight of the base is trained"},
}
