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
	left := limit - m.Resident() - teachers.WeightBytes(m) - teachers.WorkBytes() - ProcessBytes
	if left > 0 {
		return left, nil
	}
	held, fewer := "", ""
	if teachers != nil {
		held = fmt.Sprintf(", those of the teachers %d MiB, their passes and what a batch's tokens should predict %d MiB", teachers.WeightBytes(m)>>20, teachers.WorkBytes()>>20)
		fewer = ", take fewer teachers, or lower per_device_train_batch_size"
	}
	return 0, fmt.Errorf("memory_limit is %d MiB, but the weights of the base take %d MiB%s and the process itself %d MiB: raise memory_limit, store the base in "+
		"fewer bits (dtype, load_in_4bit) or in a file (weights=streamed)%s", limit>>20, m.Resident()>>20, held, ProcessBytes>>20, fewer)
}
