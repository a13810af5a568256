package train

import (
	"fmt"
	"runtime/debug"

	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
)

// BareProcessBytes is what a process that only trains takes beside what [nn.Memory] and the optimiser count: the pages of the program that
// it touches (50 to 60 MiB of its file) and the Go runtime with its heap. BENCHMARKS.md holds plans against measured peaks.
const BareProcessBytes = 80 << 20

// ProcessBytes is what the process of a run of the model m takes so: beside training it has Beam, the data stage's remains and a tokenizer,
// whose tables are about 200 bytes an entry of the vocabulary (measured: 130 to 290 for the families' tokenizers).
func ProcessBytes(m *model.Model) int64 { return BareProcessBytes + 48<<20 + 200*int64(m.Config.Vocab) }

// returnHeap gives the system what the heap no longer uses: reading data and a model leaves garbage that would stay resident beside a large
// program's arena, because training allocates too little for the collector to run.
func returnHeap(p *nn.Program) {
	if p.Memory().Arena >= 64<<20 {
		debug.FreeOSMemory()
	}
}

// ProgramLimit is what a limit of the whole process's memory, in bytes, leaves for the program and the optimiser of a training over the
// model m, beside what its objective takes and the process itself ([ProcessBytes] or [BareProcessBytes]). No limit, 0, leaves none.
func ProgramLimit(limit, process int64, m *model.Model, c Cost) (int64, error) {
	if limit <= 0 {
		return 0, nil
	}
	left := limit - m.Resident() - c.Weights - c.Work - process
	if left > 0 {
		return left, nil
	}
	held, fewer := "", ""
	if c.Who != "" {
		held = fmt.Sprintf(", those of the %s %d MiB, %s %d MiB", c.Who, c.Weights>>20, c.What, c.Work>>20)
		fewer = fmt.Sprintf(", take fewer %s, or lower per_device_train_batch_size", c.Who)
	}
	return 0, fmt.Errorf("memory_limit is %d MiB, but the weights of the base take %d MiB%s and the process itself %d MiB: raise "+
		"memory_limit, store the base in "+
		"fewer bits (dtype, load_in_4bit) or in a file (weights=streamed)%s", limit>>20, m.Resident()>>20, held, process>>20, fewer)
}
