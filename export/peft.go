package export

import "github.com/adaptflow/adaptflow/peft"

// AdapterFolder is the folder of the adapter in the output folder of a run.
const AdapterFolder = "adapter"

// pefts is HF PEFT's folder: adapter_config.json, adapter_model.safetensors and a model card. Other formats are made of it.
var pefts = Format{
	Name:   "peft",
	Folder: AdapterFolder,
	Doc:    "an adapter folder, which HF PEFT, transformers, vLLM and adaptflow load over the base model",
	Takes:  "adapters of every method",
	When:   func(*Config) bool { return true },
	Write: func(s *Source, _ *Config, to string) error {
		if s.Adapter == nil {
			from := s.Folder
			s.Folder = to
			return peft.CopyFolder(to, from)
		}
		s.Folder = to
		return s.Adapter.Save(to, s.Params, 0, s.Card)
	},
}
