package serve

import (
	"context"
	"errors"
	"fmt"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/tokenize/chat"
)

// Engine answers sequences of tokens with a base model and adapters by name. Its methods may be called by several goroutines at once.
type Engine interface {
	// Models lists what can be asked, the base first, the adapters by name.
	Models() []Model
	// Open finds a model by its name; [ErrUnknown] where there is none.
	Open(name string) (*Voice, error)
	// Start has sequences continued: all of them, or an error, [ErrFull] where too many wait. An answer must be closed.
	Start(asks ...*Ask) ([]Answer, error)
	// Embed gives a vector for each of the texts, as [infer.Model.Embed].
	Embed(ctx context.Context, v *Voice, how infer.Pooling, texts [][]int32) ([][]float32, error)
	// Stats are the numbers of the moment.
	Stats() Stats
}

// Answer is a sequence that is being continued.
type Answer interface {
	// Next waits for what comes next: io.EOF behind the last token; a [*Refused] where the request cannot be answered.
	Next(ctx context.Context) (evaluate.Said, error)
	// Close gives the sequence up, where it has not ended.
	Close()
}

// Model is a line of the list of models.
type Model struct {
	Name    string
	Parent  string // of an adapter: the base's name
	Context int    // of the base: tokens of a sequence
}

// Voice is the side of texts of a model that can be asked: what makes tokens of them, and how its own end.
type Voice struct {
	Name      string
	Tokenizer tokenize.Tokenizer
	Frame     *tokenize.Frame
	Chat      chat.Set
	Dir       string  // folder of the tokenizer
	End       []int32 // tokens that end what it says
	BOS       int32   // begins an empty text; -1 for none
	Context   int     // tokens of a sequence
	Vocab     int
	Defaults  *evaluate.GenerationConfig

	edition edition // of an adapter
}

// Ask is a sequence to be continued by a voice. Its slot is the engine's.
type Ask struct {
	Voice *Voice
	evaluate.Sequence
}

// Stats are numbers of an engine: those of the moment, and sums since its start.
type Stats struct {
	Running, Waiting int // sequences
	Rows, RowsUsed   int // of the KV cache
	PromptTokens     int64
	CachedTokens     int64 // of prompts: they were not read anew
	GeneratedTokens  int64
	Steps            int64
	Adapters         map[string]int // sequences by adapter that is in memory
	AdapterLoads     int64
	AdapterEvictions int64
}

// The errors of an engine that are not its fault.
var (
	ErrUnknown = errors.New("no such model")
	ErrFull    = errors.New("too many requests are waiting")
	ErrClosed  = errors.New("the server is ending")
)

// Refused says that a request cannot be answered, and why: the client's fault, in words that are for it.
type Refused struct{ Reason string }

func (r *Refused) Error() string { return r.Reason }

func refuse(format string, a ...any) error { return &Refused{fmt.Sprintf(format, a...)} }
