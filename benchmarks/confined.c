/* Hides newer instruction sets from a process: see confined.py. The kernel lets CPUID trap; the handler
 * runs it, clears the feature bits of leaf 7 beyond the wanted set, and goes on behind it. Bits:
 * Intel SDM, volume 2A, CPUID; arch_prctl(2) for ARCH_SET_CPUID. */
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define BIT(n) (1u << (n))
static const unsigned amx_edx = BIT(22) | BIT(24) | BIT(25);
static const unsigned avx512_ebx =
    BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31);
static const unsigned avx512_ecx = BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14);
static const unsigned avx512_edx = BIT(2) | BIT(3) | BIT(8) | BIT(23);
static const unsigned vnni_bf16_eax = BIT(4) | BIT(5); /* of leaf 7, 1 */

static int to_avx2;

static long allow_cpuid(int allowed) { return syscall(SYS_arch_prctl, 0x1012, allowed); }

static void trapped(int signal_number, siginfo_t *info, void *context) {
  greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
  const unsigned char *at = (const unsigned char *)r[REG_RIP];
  (void)info;
  if (at[0] != 0x0f || at[1] != 0xa2) { /* no CPUID: a fault of the program's own */
    signal(signal_number, SIG_DFL);
    return;
  }
  const unsigned leaf = (unsigned)r[REG_RAX], subleaf = (unsigned)r[REG_RCX];
  unsigned a, b, c, d;
  allow_cpuid(1);
  __cpuid_count(leaf, subleaf, a, b, c, d);
  allow_cpuid(0);
  if (leaf == 7 && subleaf == 0) {
    d &= ~amx_edx;
    if (to_avx2) b &= ~avx512_ebx, c &= ~avx512_ecx, d &= ~avx512_edx;
  }
  if (leaf == 7 && subleaf == 1 && to_avx2) a &= ~vnni_bf16_eax;
  r[REG_RAX] = a, r[REG_RBX] = b, r[REG_RCX] = c, r[REG_RDX] = d;
  r[REG_RIP] += 2;
}

__attribute__((constructor)) static void confine(void) {
  const char *to = getenv("SPIKEWRIGHT_CONFINED");
  struct sigaction action = {0};
  if (!to) return;
  to_avx2 = !strcmp(to, "avx2");
  action.sa_sigaction = trapped;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, NULL);
  if (allow_cpuid(0)) {
    static const char said[] = "this CPU or kernel lets no CPUID trap\n";
    if (write(2, said, sizeof said - 1) < 0) _exit(4);
    _exit(3); /* NO_TRAP of confined.py */
  }
}
