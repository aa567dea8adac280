// Runs in the browser's audio thread: hands on what the microphone hears.

/** Samples that are handed on at once: at 48 kHz some 43 ms. */
const BLOCK = 2048;

class Microphone extends AudioWorkletProcessor {
  #block = new Float32Array(BLOCK);
  #filled = 0;

  process([[channel]]) {
    if (!channel) return true; // nothing is connected yet
    this.#block.set(channel, this.#filled);
    this.#filled += channel.length;
    if (this.#filled === BLOCK) {
      this.port.postMessage(this.#block); // a copy
      this.#filled = 0;
    }
    return true;
  }
}

registerProcessor("microphone", Microphone);
