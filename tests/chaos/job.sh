# What the jobs of the chaos test do. `job.sh PLACE CODE SECONDS PYTHON` notes the job's start and end; in between it runs
# its flow, if CODE is `flow`, or sleeps.
note="$1/$PREFECT__FLOW_RUN_ID"
echo "start $(date +%s)" >>"$note"
code=$2
if [ "$code" = flow ]; then
  "$4" -m prefect flow-run execute
  code=$?
else
  sleep "$3"
fi
echo "end $(date +%s) $code" >>"$note"
exit "$code"
