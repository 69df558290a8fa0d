  // The twin of `exact` in layout/numbers.py, for numbers of four digits.
  function exact(value) {
    const size = Math.abs(value);
    const far = size && (size < 1e-4 || size >= 1e4);
    const [digits, power] = (far ? size.toExponential() : String(size)).split("e");
    const raised = [...(power ?? "").replace("+", "")].map((digit) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(digit)]);
    return (value < 0 ? "−" : "") + digits + (power ? `×10${raised.join("")}` : "");
  }

  const bytesOf = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

  // The scores of a row, NaN where there is none (see `packed` in panels.py): decoded when they are first needed.
  function scores(row) {
    if (!row.decoded) {
      const bytes = bytesOf(row.scores);
      const wide = bytes.length === 8 * data.names.length;
      row.decoded = wide ? new Float64Array(bytes.buffer) : new Float32Array(bytes.buffer);
    }
    return row.decoded;
  }

  // The number of a source, as it is read out.
  function number(row, source) {
    const value = scores(row)[source] ?? NaN;
    return Number.isNaN(value) ? "no score" : exact(Number(value.toPrecision(4))) + row.unit;
  }
