# docker build -t softtargets .
# docker run -it --rm -v "$(pwd)/data:/app/data" softtargets [overrides]
ARG PYTHON=3.11
FROM python:${PYTHON}-slim-bookworm

# all of Fashion-MNIST, so that the image runs offline; gosu hands the run to whoever owns the mounted folder
RUN apt-get update \
 && apt-get install -y --no-install-recommends dataset-fashion-mnist gosu \
 && rm -rf /var/lib/apt/lists/* \
 && chmod 711 /root

WORKDIR /app

# dependencies depend on these two files alone: a change of code does not download them again.
# torch from the package index runs on CPUs and CUDA GPUs alike; TORCH_INDEX=<PyTorch's index of CPU wheels> makes an
# image of a third of the size for CPUs alone; that index has other versions of what torch depends on
ARG TORCH_INDEX=
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
      > /tmp/requirements.txt \
 && if [ -n "$TORCH_INDEX" ]; then \
      grep -E '^torch' /tmp/requirements.txt > /tmp/torch.txt \
      && pip install --no-cache-dir --no-deps --index-url "$TORCH_INDEX" -c constraints.txt -r /tmp/torch.txt; \
    fi \
 && pip install --no-cache-dir -c constraints.txt -r /tmp/requirements.txt \
 && rm -f /tmp/requirements.txt /tmp/torch.txt

COPY LICENSE README.md run.py ./
COPY docker ./docker
COPY hydra_plugins ./hydra_plugins
COPY conf ./conf
COPY softtargets ./softtargets
RUN pip install --no-cache-dir --no-deps -e . && python -m compileall -q softtargets hydra_plugins

# data, trained models and results, in the one folder that is mounted
ENV SOFTTARGETS_DATA=/app/data SOFTTARGETS_STORE=/app/data/store SOFTTARGETS_RUNS=/app/data/runs \
    PYTHONUNBUFFERED=1
RUN mkdir data
VOLUME /app/data

ENTRYPOINT ["sh", "/app/docker/entrypoint.sh"]
