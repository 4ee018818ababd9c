"""Changes single values in the YAML files that `postern up` writes. No YAML library: line by line."""
import re


def set_gateway(path, **values):
    """Sets keys below `gateway:` in postern.yaml, making what is missing."""
    try:
        with open(path) as f:
            text = f.read()
    except FileNotFoundError:
        text = ""
    if not re.search(r"(?m)^gateway:", text):
        text += ("" if text.endswith("\n") or not text else "\n") + "gateway:\n"
    for key, value in values.items():
        text = re.sub(rf"(?m)^  {key}:.*\n", "", text)
        text = re.sub(r"(?m)^gateway:.*\n", lambda m: f"gateway:\n  {key}: {value}\n", text, count=1)
    with open(path, "w") as f:
        f.write(text)
