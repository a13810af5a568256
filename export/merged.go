package export

import (
	"os"

	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/peft"
)

// merged is a model folder of the base with the adapter in its weights.
var merged = Format{
	Name:   "merged",
	Folder: "merged",
	Doc:    "a model folder without an adapter, which transformers and whatever reads its models load",
	Takes:  "adapters of methods that change weights by what can be added to them",
	When:   func(c *Config) bool { return c.Merged },
	Refuse: (*peft.Adapter).Mergeable,
	Write: func(s *Source, c *Config, to string) error {
		if err := os.RemoveAll(to); err != nil { // of a run that ended here
			return err
		}
		return infer.Merge(s.Base, s.Folder, to, c.MergedDType, 1)
	},
}
