# ADAPTFLOW_KERNELS=avx2
# adaptflow of commit 0d9ee28, in this folder
adaptflow run domain-adaptation --output out --set input=in.jsonl --set eval_input=held.jsonl --set general_input=held.jsonl --set sequence_length=32 --set batch_size=2 \
  --set steps=6 --set save_steps=3 --set method.'target_modules=[q_proj]' --set rank=1 --set evaluate.max_new_tokens=4
