package run

import (
	"fmt"
	"strings"
)

// Diverged says whether an error is that of a training or an adapted model whose numbers are not finite.
func Diverged(err error) bool { return err != nil && strings.Contains(err.Error(), "not finite") }

// afterTraining adds what to do to the error of scoring an adapted model.
func afterTraining(err error) error {
	if Diverged(err) {
		return fmt.Errorf("the training diverged: %w: lower learning_rate or raise warmup_steps, and choose another --output", err)
	}
	return err
}
