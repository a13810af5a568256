package train

import (
	"fmt"

	"github.com/adaptflow/adaptflow/model"
)

// ProcessBytes is what a training process takes beside what [nn.Memory] and the optimiser count: the pages of the program that it touches (50 to 60 MiB of its file) and
// the Go runtime with its heap. BENCHMARKS.md holds plans against measured peaks.
const ProcessBytes = 80 << 20

// ProgramLimit is what a limit of the whole process's memory, in bytes, leaves for the program and the optimiser of a training over the model m, beside its teachers (nil for
// none). No limit, 0, leaves none.
func ProgramLimit(limit int64, m *model.Model, teachers *Teachers) (int64, error) {
	if limit <= 0 {
		return 0, nil
	}
	left := limit - m.Resident() - teachers.Bytes(m) - ProcessBytes
	if left <= 0 {
		return 0, fmt.Errorf("memory_limit is %d MiB, but the weights of the base take %d MiB, the teachers %d MiB and the process itself %d MiB: raise memory_limit, or store the base in "+
			"fewer bits (dtype, load_in_4bit) or in a file (weights=streamed)", limit>>20, m.Resident()>>20, teachers.Bytes(m)>>20, ProcessBytes>>20)
	}
	return left, nil
}
