/* A libnvidia-ml.so.1 without hardware: the seven calls that tfpod makes, answered from a text file.
 *
 *     cc -shared -fPIC -o libnvidia-ml.so.1 fake_nvml.c
 *     LD_LIBRARY_PATH=. FAKE_NVML_FILE=gpus.txt python -m service
 *
 * The file that FAKE_NVML_FILE names is read anew at every call; replace it whole (write beside it, then rename).
 * Each line is a word and its values, in any order; a line that begins with another word is a comment:
 *
 *     devices 2            how many there are; default 1
 *     denied 0             the first so many are another's: counted, but their handles are refused
 *     utilization 30 70    percent by device, the last value for all that follow; default 0
 *     memory 1024 2048     bytes used by device, likewise; default 0
 *     mode ok              ok             everything answers (the default)
 *                          not-supported  utilisation does not, as on a device in MIG mode
 *                          dead           the driver: nothing answers until it is another mode AND nvmlShutdown
 *                                         and nvmlInit were called, as after a lost device
 *                          hang           a call comes back once the file says something else
 *
 * No file, or no FAKE_NVML_FILE: the driver is not loaded.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* As in NVIDIA's nvml.h, "nvmlReturn_t". */
enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15 };
enum { MAX_DEVICES = 16 };

typedef struct { unsigned int gpu, memory; } utilization_t;
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct {
    unsigned int devices, denied;
    unsigned long long utilization[MAX_DEVICES], memory[MAX_DEVICES];
    char mode[32];
} state_t;

static int initialized; /* how often nvmlInit was called more than nvmlShutdown */
static int lost;        /* a call met a dead driver since the last nvmlInit */

static void read_values(const char *text, unsigned long long *values) {
    unsigned long long value = 0;
    for (int i = 0, length; i < MAX_DEVICES; i++) {
        if (sscanf(text, " %llu%n", &value, &length) == 1) text += length;
        values[i] = value;
    }
}

/* Fills `state` from the file; 0 if there is none. */
static int read_file(state_t *state) {
    const char *path = getenv("FAKE_NVML_FILE");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[512];
    *state = (state_t){.devices = 1, .mode = "ok"};
    if (!file) return 0;
    while (fgets(line, sizeof line, file)) {
        sscanf(line, "devices %u", &state->devices);
        sscanf(line, "denied %u", &state->denied);
        sscanf(line, "mode %31s", state->mode);
        if (!strncmp(line, "utilization ", 12)) read_values(line + 12, state->utilization);
        if (!strncmp(line, "memory ", 7)) read_values(line + 7, state->memory);
    }
    fclose(file);
    if (state->devices > MAX_DEVICES) state->devices = MAX_DEVICES;
    return 1;
}

/* What every call does first. */
static int enter(state_t *state) {
    int found;
    while ((found = read_file(state)) && !strcmp(state->mode, "hang")) usleep(10000);
    if (!found) return DRIVER_NOT_LOADED;
    if (!strcmp(state->mode, "dead")) lost = 1;
    return lost ? GPU_IS_LOST : SUCCESS;
}

static int enter_device(state_t *state, void *device, size_t *index) {
    int answer = initialized ? enter(state) : UNINITIALIZED;
    *index = (size_t)device - 1;
    return answer ? answer : *index < state->devices ? SUCCESS : INVALID_ARGUMENT;
}

int nvmlInitWithFlags(unsigned int flags) {
    state_t state;
    (void)flags;
    if (!initialized) lost = 0;
    int answer = enter(&state);
    if (answer) return answer == GPU_IS_LOST ? DRIVER_NOT_LOADED : answer;
    initialized++;
    return SUCCESS;
}

int nvmlShutdown(void) {
    if (!initialized) return UNINITIALIZED;
    initialized--;
    return SUCCESS;
}

const char *nvmlErrorString(int answer) { return answer ? "an error" : "success"; }

int nvmlDeviceGetCount_v2(unsigned int *count) {
    state_t state;
    int answer = initialized ? enter(&state) : UNINITIALIZED;
    if (!answer) *count = state.devices;
    return answer;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) {
    state_t state;
    size_t again;
    *device = (void *)(size_t)(index + 1);
    int answer = enter_device(&state, *device, &again);
    return answer ? answer : index < state.denied ? NO_PERMISSION : SUCCESS;
}

int nvmlDeviceGetUtilizationRates(void *device, utilization_t *rates) {
    state_t state;
    size_t index;
    int answer = enter_device(&state, device, &index);
    if (answer) return answer;
    if (!strcmp(state.mode, "not-supported")) return NOT_SUPPORTED;
    *rates = (utilization_t){.gpu = (unsigned int)state.utilization[index]};
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(void *device, memory_t *memory) {
    state_t state;
    size_t index;
    int answer = enter_device(&state, device, &index);
    if (!answer) *memory = (memory_t){.total = 80ULL << 30, .used = state.memory[index]};
    return answer;
}
