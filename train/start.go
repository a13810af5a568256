package train

// Start is what a training starts from, and the models that it learns from beside the labels. A recipe, whose section train has these keys,
// may name models otherwise than by their folders; a [Job] has the folders.
type Start struct {
	InitAdapter string `yaml:"init_adapter" json:"init_adapter" help:"adapter folder to start from, here or on an object store; empty for new values"`
	// Teachers: see the type of that name. DistillationAlpha is their weight beside the labels, 0 in a job without any.
	Teachers          []string `yaml:"teacher_model_name_or_path" json:"teachers,omitempty" help:"models to distil from, with the tokenizer of the base: what a token should predict is then, by distillation_alpha, the mean of their distributions; stored as model.dtype says; empty for none"`
	DistillationAlpha float64  `yaml:"distillation_alpha" json:"distillation_alpha,omitempty" bounds:"(0,1]" help:"share of the teachers' distribution in what a token should predict; the rest is the token that follows"`
}
