#!/usr/bin/env bash
# The pretraining of colipri_crm_ctrate.sh on several nodes of a Slurm cluster, once its data are prepared.
#   sbatch training/runs/colipri_slurm.sh FOLDER [OPTION OF pretrain ...]       FOLDER on a disk all nodes share
# Two minutes before its time is up the job gets SIGTERM, saves and ends; with --requeue it goes on later.
#SBATCH --job-name=colipri
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$(dirname "$0")/../..}"
source training/runs/commands.sh
out=${1:?folder that colipri_crm_ctrate.sh filled}
shift
if [[ -n ${DRY_RUN:-} ]]; then
    head=localhost
else
    head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
fi
run srun --kill-on-bad-exit=1 torchrun \
    --nnodes "${SLURM_NNODES:-2}" --nproc-per-node "${SLURM_GPUS_ON_NODE:-4}" \
    --rdzv-backend c10d --rdzv-endpoint "$head:29500" --rdzv-id "${SLURM_JOB_ID:-0}" --no-python \
    colipri-train pretrain --recipe colipri-crm --output "$out/run" --data "$out/ct-rate" --data "$out/nlst" \
    --init-text "${TEXT_ENCODER:-microsoft/BiomedVLP-CXR-BERT-specialized}" "$@"
