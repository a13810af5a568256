package rewards

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/adaptflow/adaptflow/internal/childenv"
)

// Program asks a program, which gets answers as lines of JSON and says a reward for each in a line. What it said is kept, so that it is
// asked once of the same answer.
type Program struct {
	Command []string `json:"command" help:"the program and its arguments; every worker needs it"`
	Asking
}

// NewProgram has the defaults.
func NewProgram() *Program { return &Program{Asking: newAsking()} }

// Check implements [Checker].
func (w *Program) Check() error {
	if len(w.Command) == 0 || w.Command[0] == "" {
		return errors.New("command names no program")
	}
	return w.check()
}

// said bounds what a program or an endpoint says of a batch.
const said = 16 << 20

// Score implements [Reward].
func (w *Program) Score(ctx context.Context, answers []Answer) ([]float64, error) {
	return w.score(ctx, strings.Join(w.Command, " "), answers, func(ctx context.Context, lines []byte) ([]byte, error) {
		c := childenv.Command(ctx, w.Command[0], w.Command[1:]...)
		c.WaitDelay = time.Second // a child of its own may keep the pipes open
		var out, complaint limited
		c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(lines), &out, &complaint
		if err := c.Run(); err != nil {
			if text := strings.TrimSpace(complaint.String()); text != "" {
				text = text[max(0, len(text)-300):]
				err = fmt.Errorf("%w: %s", err, text[strings.LastIndexByte(text, '\n')+1:])
			}
			return nil, err
		}
		return out.Bytes(), nil
	})
}

// limited takes what is said, as far as it is no more than said.
type limited struct{ bytes.Buffer }

// Write implements io.Writer.
func (l *limited) Write(b []byte) (int, error) {
	if l.Len()+len(b) > said {
		return 0, io.ErrShortWrite
	}
	return l.Buffer.Write(b)
}
