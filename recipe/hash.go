package recipe

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// hashed are the keys in the order in which the first version wrote them, so that a recipe keeps its hash whatever struct a setting lies
// in. Those that were added since have a "+": they are part of the hash where they have another value than their default. New keys go to
// the end of their section, with a "+". Names after a "=" are what the first version called a key.
var hashed = []struct{ section, keys string }{
	{"model", "" +
		"path task dtype load_in_4bit load_in_8bit bnb_4bit_quant_type bnb_4bit_use_double_quant weights tokenizer_engine " +
		"memory_limit +gguf"},
	{"data", "" +
		"input eval_input general_input format +delimiter text_column row_kind key_column label_column columns text_mode " +
		"sources sampling_temperature stopping_strategy validation_fraction max_bad_fraction"},
	{"prepare", "" +
		"sequence_length packing isolate_documents tokens_per_shard completion_only_loss +add_bos +add_eos +document_separator " +
		"assistant_only_loss apply_chat_template chat_template clean dedupe language +max_length"},
	{"method", ""},
	{"train", "" +
		"max_steps num_train_epochs per_device_train_batch_size gradient_accumulation_steps learning_rate lr_scheduler_type " +
		"warmup_steps warmup_ratio optim optim_args loraplus_lr_ratio lr_scheduler_kwargs weight_decay adam_beta1 adam_beta2 " +
		"adam_epsilon max_grad_norm +dataloader_drop_last logging_steps eval_steps save_steps save_total_limit " +
		"load_best_model_at_end early_stopping_patience seed replicas mode local_steps outer_learning_rate=outer_lr " +
		"outer_momentum compression compression_args drop_late_after min_replicas optimizer_shards contributors init_adapter " +
		"teacher_model_name_or_path distillation_alpha +objective +objective_args " +
		"+shared_prompts +report_to"},
	{"evaluate", "" +
		"max_sequences exact_match answer_delimiter answer_match chrf batch_size prompts max_new_tokens do_sample temperature " +
		"top_k top_p repetition_penalty +measures +responses +reward_model +max_general_rise"},
	{"export", "merged merged_dtype +formats +gguf +gguf_lora +gguf_max_rank"},
	{"compare", "methods learning_rates parameter_budget"},
	{"keys", "min_sequences init_adapters group_keys group_tokens"},
	{"continual", "increment_files max_forgetting max_domain_rise replay_fraction replay_sequences"},
}

// Hash is the hexadecimal SHA-256 of the resolved recipe's canonical JSON. Keys that were added since are part of it where they have
// another value than their default, so that a recipe keeps its hash.
func (r *Recipe) Hash() string {
	var b bytes.Buffer
	def := Default()
	for i, s := range hashed {
		b.WriteString(separator(i, "{"))
		if s.section == "method" {
			entry(&b, s.section, r.Method)
			continue
		}
		fmt.Fprintf(&b, "%q:", s.section)
		n := 0
		for _, k := range strings.Fields(s.keys) {
			k, later := strings.CutPrefix(k, "+")
			k, first, _ := strings.Cut(k, "=")
			v := r.field(s.section + "." + k).Interface()
			if later && reflect.DeepEqual(v, def.field(s.section+"."+k).Interface()) {
				continue
			}
			if first == "" {
				first = k
			}
			b.WriteString(separator(n, "{"))
			entry(&b, first, v)
			n++
		}
		b.WriteString("}")
	}
	if len(r.Auto) > 0 {
		b.WriteString(separator(1, ""))
		entry(&b, "auto", r.Auto)
	}
	b.WriteString("}")
	s := sha256.Sum256(b.Bytes())
	return hex.EncodeToString(s[:])
}

// separator is what stands before the i-th entry.
func separator(i int, open string) string {
	if i == 0 {
		return open
	}
	return ","
}

func entry(b *bytes.Buffer, key string, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("recipe: %s cannot be written: %v", key, err))
	}
	fmt.Fprintf(b, "%q:%s", key, raw)
}
