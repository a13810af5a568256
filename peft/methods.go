package peft

// Methods is the table of methods. A new method is one file and one row here.
var Methods = []Row{
	{Type: "LORA", New: newLora, Doc: "low-rank pairs beside linear layers and embeddings (Hu et al. 2021, arXiv:2106.09685)"},
	{Type: "LOHA", New: newLoha, Doc: "Hadamard product of two low-rank products (Hyeon-Woo et al. 2021, arXiv:2108.06098; Yeh et al. 2023, arXiv:2309.14859)"},
	{Type: "TRAINABLE_TOKENS", New: newTrainableTokens, Doc: "chosen rows of the embedding are trained, the others stay"},
}
