package continual

// Config is the settings of continual learning: a recipe's section continual.
type Config struct {
	IncrementFiles  int `yaml:"increment_files" json:"increment_files" bounds:"[0,)" help:"most files of an increment; 0 for no continual learning: the whole input is trained on at once"`
	Limits          `yaml:",inline"`
	ReplayFraction  float64 `yaml:"replay_fraction" json:"replay_fraction" bounds:"[0,1)" help:"share of an increment's training sequences that are replayed from earlier increments"`
	ReplaySequences int     `yaml:"replay_sequences" json:"replay_sequences" bounds:"[0,)" help:"most sequences that are kept of earlier increments, a uniform sample of all"`
}
