# What flink.sh and cluster.sh share: sourced with $work set. Leaves the caller where Java or Maven is missing; makes the corpus and names it in ${corpus[@]}.
for tool in java mvn; do
  command -v "$tool" > /dev/null || { echo "skipped: $tool is not in the path"; exit 0; }
done
mkdir -p "$work/tmp"
export TMPDIR=$work/tmp # what a run leaves in the folder of temporary files is seen
same() { cmp "$1" "$2" || { echo "other bytes on ${engine:-flink} than on Prism"; exit 1; }; }
# Three files of made-up manual pages: enough for several bundles, little enough for an engine to be what takes the time.
for part in 1 2 3; do
  awk -v part=$part 'BEGIN { for (i = 1; i <= 40; i++) {
    printf "{\"text\": \"Page %d of part %d.", i, part
    for (j = 1; j <= 6 + i % 5; j++) printf " The call number %d opens file %d and returns descriptor %d, or an error.", j * part, i * j, (i + j) % 7
    print "\"}" } }' > "$work/part-$part.jsonl"
done
corpus=(--set "input=$work/part-*.jsonl" --set text_column=text --set data.eval_input=[] --set data.general_input=[] --set validation_fraction=0.1
  --set sequence_length=64)
